# Runs inside OpenCanary's own environment, never in the engine's. It sees to two things that OpenCanary leaves
# open: that only the configuration beside it counts (one in /etc would win otherwise), and that its own talk is
# bounded, since every connection of an attacker adds to it.
import os

os.chdir(os.environ["HOME"])

import opencanary.config  # noqa: E402

opencanary.config.config = opencanary.config.Config(os.path.abspath("opencanary.conf"))

from twisted.python.log import FileLogObserver, ILogObserver  # noqa: E402
from twisted.python.logfile import LogFile  # noqa: E402

with open(os.environ["DECOY_TAC"], encoding="utf-8") as file:
    exec(compile(file.read(), os.environ["DECOY_TAC"], "exec"))
talk = LogFile("decoy.log", ".", rotateLength=1_000_000, maxRotatedFiles=1)
application.setComponent(ILogObserver, FileLogObserver(talk).emit)  # noqa: F821  made by the file above
