"""What the example sites share.

processes  starts a site with all that it needs
letters    what becomes of a letter: hands it to the wechat plugin, cancels it, sends it again
static     the style of their pages
"""
