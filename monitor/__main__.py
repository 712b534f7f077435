"""`python -m monitor` is `policywatch`."""

import sys

from monitor.entry import main

sys.exit(main())
