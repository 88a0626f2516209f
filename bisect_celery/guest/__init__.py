"""Files that run inside a project's own environment: standard library only, Python 2.7 to today.

They are sent into a place and started there as programs of their own, never loaded into a worker that is being
judged. The tool itself never imports them.
"""
