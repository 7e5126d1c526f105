"""What to train on this corpus with this hardware: facts, costs, choices and the plan that says why."""
