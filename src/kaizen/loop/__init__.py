"""The loop: triggers, policy, act, the cycle on one screen, and the journal that survives a crash."""
