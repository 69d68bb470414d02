# After packages.sh: hands the installed root to imgbuild, for its cache. The pipe's number may have two
# digits, which not every shell can write to.
echo "imgbuild-stage: pack"
open_view "$1"
bash -c 'tar --create --numeric-owner --xattrs "--xattrs-include=*" --sort=name \
    --exclude=./imgbuild --exclude=./mnt/root --directory "$1" . >&{{ pipe }}' bash "$view"
close_view "$1"
echo "{{ whole }}"
