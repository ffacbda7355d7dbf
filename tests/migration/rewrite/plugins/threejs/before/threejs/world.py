effects: list = []


class Store:
    """Runs with revisions."""

    def __init__(self):
        self.runs = {}

    def claim(self, run_id, revision):
        run = self.runs[run_id]
        if run["revision"] != revision:
            return False
        run["revision"] += 1
        return True
