"""`python -m fastgoal` is the same as the command `fastgoal`."""

from fastgoal.cli import main

if __name__ == "__main__":
    main()
