"""What Python runs first where this folder is on PYTHONPATH."""

import another_system

another_system.install()
