"""Entry point of ``python3 -m deploy.images``."""

import sys

from deploy.images.verbs import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
