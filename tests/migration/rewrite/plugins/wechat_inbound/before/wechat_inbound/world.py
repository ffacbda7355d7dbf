effects: list = []
