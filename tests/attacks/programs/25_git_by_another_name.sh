# Delivers directories that some file systems take for `.git`.
for name in .GIT .Git 'git~1' $'.g\u200cit'; do
  mkdir -p "odd/$name" && echo '[core] fsmonitor = false' > "odd/$name/config"
done
echo named
