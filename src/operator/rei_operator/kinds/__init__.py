"""The kinds' decisions: pure functions `decide(resource, facts) -> actions`, one module each."""
