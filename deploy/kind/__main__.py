"""Entry point of ``python3 -m deploy.kind``."""

import sys

from deploy.kind.verbs import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
