"`python -m noisylab` is the program `noisylab`."
import sys

from .cli import main

if __name__ == '__main__': sys.exit(main())
