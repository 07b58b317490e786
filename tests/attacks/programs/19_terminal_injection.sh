# Says escape codes, makes files of such names, and commits with them: for the terminal of whoever reads.
printf '\e]0;owned\a\e[31mred\e[2J\xc2\x9b31m\n' >&3
printf '\e]0;owned\a\n'
echo text > $'esc\e[31m\xc2\x9bname.txt'
mkdir -p specs && echo text > $'specs/esc\e[31mname.md'
[ -d .git ] || git init -q .
git add -A . 2>/dev/null
git -c user.name=$'\e[31mred' -c user.email=a@b commit -qm $'\e]0;owned\a title'
exit 0
