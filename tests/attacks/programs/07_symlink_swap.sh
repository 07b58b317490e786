# Puts links in the places where the factory will write: what it leaves there is for the agent to read.
mkdir -p "$base"/drop/{artifacts,scenarios} 2>/dev/null
rm -rf artifacts scenarios
ln -s "$base/drop/artifacts" artifacts
ln -s "$base/drop/scenarios" scenarios
echo swapped
