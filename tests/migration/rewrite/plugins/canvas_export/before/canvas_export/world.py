effects: list = []
exports: dict = {}
