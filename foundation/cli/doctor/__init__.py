"""`foundation doctor`: what is installed, what is wrong with it or with this machine, and how to fix it.

``examination`` runs the checks of the other files and prints their findings. A check reads what it needs from the
machine and passes it to a function, so that tests can call that function with other machines' data.
"""
