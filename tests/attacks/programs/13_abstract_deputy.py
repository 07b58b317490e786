# The same over an abstract socket, which no view of files hides.
import os, socket

asked = socket.socket(socket.AF_UNIX)
asked.settimeout(5)
asked.connect("\0" + os.environ["abstract"])
asked.sendall(b"abstract\n")
print(asked.recv(4096).decode())
