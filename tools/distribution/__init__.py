"""Makes what people install, and tries it as they would: `python -m tools.distribution`.

`building` makes the wheel and the sdist, `checking` reads them, and `trying` installs the wheel
into an environment of its own and has it import pictures and find one. Start with `__main__`.
"""
