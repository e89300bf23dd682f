"""`rei run -f`: a manifest carried out once, by hand, where no cluster is.

    reading   a file becomes numbered resources, or an error with its document and field
    work      each kind's work, by the same functions that the operator and its Jobs call
    preview   what that work would do; changes nothing
    model     how a document ended
    telling   that as a table or as JSON

Nothing here knows Kubernetes. What is done by hand has keys of its own in PostgreSQL: the operator
never takes it for a run, a Backup or a UserBan of its cluster.
"""
