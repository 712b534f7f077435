"""What the policy does: its mix of actions, its answers to states, the odds it logs, actions it must not take."""
