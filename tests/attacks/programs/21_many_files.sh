# Delivers more files than a person would look through.
mkdir -p many && for n in $(seq 600); do echo "$n" > "many/$n"; done
echo many
