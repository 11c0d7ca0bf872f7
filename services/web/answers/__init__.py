"""What there is to show: asks the services, and returns plain data without a word of HTML.

The pages stand on these functions, and so will the HTTP API. `questions.py` reads a search from an
address, `searching.py` answers it; read these two first.
"""
