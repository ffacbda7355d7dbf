"""A small Flask site on the wechat plugin: two tenants write messages, and see what becomes of them.

    app        the application: its configuration, and signing in
    users      who may sign in, and for which tenant
    letters    what users write: the table, the pages, and the job that hands a letter to the plugin
    templates  the pages

`python -m examples.flask_site` starts all there is: a Redis, a chat service, a worker and the site.

A letter and its job are added by one commit. A letter that can't be kept is rolled back, and so there is no job.
"""

from .app import create_app as create_app
