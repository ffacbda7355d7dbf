effects: list = []
changes = {"d1": 0, "d2": 0}
