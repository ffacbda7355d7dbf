effects: list = []
tasks: dict = {}
answers = {"t1": ["running", "running", "done"], "t2": ["error"], "t3": ["running", "done"]}
