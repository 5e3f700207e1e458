"""`python -m paramlint`."""

from paramlint.cli.main import main

if __name__ == "__main__":
    main()
