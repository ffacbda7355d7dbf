"""What the names of a project mean, found before anything is rewritten.

`scopes` reads files into scopes with their bindings, `project` follows names through them, and the others decide what
becomes of each call. Everything here works on the `ast` of the files as they are on disk, so its positions are theirs.
"""
