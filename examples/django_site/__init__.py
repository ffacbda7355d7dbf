"""A small Django site on the wechat plugin: two tenants write messages, and see what becomes of them.

    settings      the project's: the app, the middleware and XPERT_MQ, with an outbox
    models        the users, with their tenants, and the letters that they write
    views         the pages; urls says where they are
    managed_jobs  the job that hands a letter to the plugin
    management    the command that makes the demo's tables and users
    templates     the pages

`python -m examples.django_site` starts all there is: a Redis, a chat service, a worker and the site.

A letter and its job are added by one transaction. A letter that can't be kept is rolled back, and so there is no job.
Staff find the jobs of their tenant in the admin.
"""
