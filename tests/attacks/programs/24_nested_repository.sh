# Delivers a repository in the repository, which git would take for a submodule.
mkdir -p nested && git -c init.templateDir= init -q nested && echo text > nested/file
git -C nested add file && git -C nested -c user.name=a -c user.email=a@b commit -qm nested
git -C nested config core.fsmonitor "touch $base/drop/bomb-nested"
echo nested
