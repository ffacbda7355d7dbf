"""`python -m examples.demo`: the wechat plugin on a server and two workers of its own, with three tenants, checked.

plan       who sends what when, what goes wrong, and how it must end: all from a seed
script     plays a tenant's part of the plan, and notes what the plugin told
processes  the workers and the chat service, as processes
tries      a module that the workers load too: notes when each try began and ended
seen       what became of it all, from the plugin's rows, the service's log, the platform's jobs and the tries
case       all of that in one
check      what is wrong with it; `turns` has the limits
figures    the tables at the end
screen     shows it
"""
