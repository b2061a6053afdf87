"""A cluster of machines by way of Ray: connection, seats on its nodes, the worker that uses them.

The only part that knows Ray, an extra that is imported when a cluster is joined. What is needed of
it is imported from its modules: `reach` alone is quick.
"""
