"""Candidates, offline and while they wait: logged decisions as the columns of off-policy evaluation."""
