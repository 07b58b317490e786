# Asks a helper of the same user, outside, to read a file: over a socket that has a path.
import os, socket

base = os.environ["base"]
asked = socket.socket(socket.AF_UNIX)
asked.settimeout(5)
asked.connect(base + "/drop/deputy")
asked.sendall(b"pathname\n")
print(asked.recv(4096).decode())
