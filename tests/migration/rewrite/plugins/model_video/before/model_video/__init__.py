"""Makes videos with a model, in steps that are not done twice."""
