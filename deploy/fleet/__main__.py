"""Entry point of ``python3 -m deploy.fleet``."""

import sys

from deploy.fleet.verbs import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
