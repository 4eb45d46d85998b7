"""``python -m llmwatch``: the same as the console script."""

from llmwatch.cli import main

if __name__ == "__main__":
    main()
