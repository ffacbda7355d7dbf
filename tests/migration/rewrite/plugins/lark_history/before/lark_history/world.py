effects: list = []
messages = {f"m{number}": f"file {number}" for number in range(7)}
leased = {"m5"}
