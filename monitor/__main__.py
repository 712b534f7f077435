"""`python -m monitor` is `policywatch`."""

import sys

from monitor.cli import main

sys.exit(main())
