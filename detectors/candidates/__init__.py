"""A candidate judged all its life beside the policy that runs, from logged decisions."""
