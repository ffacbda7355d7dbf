effects: list = []
flaky = {"canary"}
