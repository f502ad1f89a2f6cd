"""The Python face: what `import trainwright` offers, each fetched when it is first asked for.

It calls what the commands call, and returns what they print. docs/api.md says what is public.
"""
