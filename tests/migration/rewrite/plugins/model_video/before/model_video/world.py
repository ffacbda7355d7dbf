effects: list = []
crashes = {"call-2": 2}


async def submit(prompt):
    effects.append(["paid", prompt])
    return f"request of {prompt}"


async def query(request):
    return "succeeded"
