package timerslack

import "C" // compiles timerslack_linux.c, whose constructor does the work
