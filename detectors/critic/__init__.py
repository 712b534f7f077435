"""Whether the critic's value agrees with what came, in all and by group."""
