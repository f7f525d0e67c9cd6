//! Against a real file system. Nothing waits for a time to pass: each test waits for what it caused.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// Polls so rarely that only signs can be the cause.
const BY_SIGNS: Timing =
    Timing { settle: Duration::from_millis(10), longest: Duration::from_millis(100), poll: Duration::from_secs(3600) };
const BY_POLLING: Timing = Timing { poll: Duration::from_millis(10), ..BY_SIGNS };

struct Scene {
    folder: tempfile::TempDir,
    watch: Watch,
}

impl Scene {
    fn with(files: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let files = files.iter().map(|name| folder.path().join(name)).collect();
        let watch = Watch::with(files, BY_SIGNS, Signs::System).unwrap();
        Self { folder, watch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn expect_change(&self) {
        wait_for(&self.watch);
    }
}

#[track_caller]
fn wait_for(watch: &Watch) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let changed = async { tokio::time::timeout(Duration::from_secs(10), watch.changed()).await };
    assert!(runtime.block_on(changed).is_ok(), "the change was not seen");
}

fn write(path: &Path) {
    fs::write(path, "a: 1\n").unwrap();
}

#[test]
fn a_file_that_is_written_in_place_is_seen() {
    let scene = Scene::with(&["weir.yaml"], |root| write(&root.join("weir.yaml")));
    fs::write(scene.path("weir.yaml"), "a: 2\n").unwrap();
    scene.expect_change();
}

#[test]
fn a_file_that_is_touched_is_seen() {
    let scene = Scene::with(&["weir.yaml"], |root| write(&root.join("weir.yaml")));
    let file = fs::File::options().write(true).open(scene.path("weir.yaml")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    scene.expect_change();
}

#[test]
fn a_file_that_is_renamed_into_place_is_seen_each_time() {
    let scene = Scene::with(&["weir.yaml"], |root| write(&root.join("weir.yaml")));
    for _ in 0..3 {
        write(&scene.path("weir.yaml.new"));
        fs::rename(scene.path("weir.yaml.new"), scene.path("weir.yaml")).unwrap();
        scene.expect_change();
    }
}

#[test]
fn a_file_that_is_removed_and_made_again_is_seen() {
    let scene = Scene::with(&["weir.yaml"], |root| write(&root.join("weir.yaml")));
    fs::remove_file(scene.path("weir.yaml")).unwrap();
    scene.expect_change();
    write(&scene.path("weir.yaml"));
    scene.expect_change();
}

#[test]
fn a_config_map_that_is_swapped_is_seen_each_time() {
    let scene = Scene::with(&["weir.yaml"], |root| {
        fs::create_dir(root.join("..v0")).unwrap();
        write(&root.join("..v0/weir.yaml"));
        symlink("..v0", root.join("..data")).unwrap();
        symlink("..data/weir.yaml", root.join("weir.yaml")).unwrap();
    });
    for version in 1..4 {
        let (new, old) = (format!("..v{version}"), format!("..v{}", version - 1));
        fs::create_dir(scene.path(&new)).unwrap();
        write(&scene.path(&new).join("weir.yaml"));
        symlink(&new, scene.path("..data_tmp")).unwrap();
        fs::rename(scene.path("..data_tmp"), scene.path("..data")).unwrap();
        scene.expect_change();
        fs::remove_dir_all(scene.path(&old)).unwrap();
    }
}

#[test]
fn a_file_in_a_folder_that_is_not_there_yet_is_seen() {
    let scene = Scene::with(&["certs/live/tls.crt"], |_| {});
    fs::create_dir_all(scene.path("certs/live")).unwrap();
    scene.expect_change();
    write(&scene.path("certs/live/tls.crt"));
    scene.expect_change();
}

#[test]
fn a_file_in_a_folder_that_is_replaced_is_seen() {
    let scene = Scene::with(&["certs/tls.crt"], |root| {
        fs::create_dir(root.join("certs")).unwrap();
        write(&root.join("certs/tls.crt"));
    });
    fs::create_dir(scene.path("new")).unwrap();
    write(&scene.path("new/tls.crt"));
    fs::rename(scene.path("certs"), scene.path("old")).unwrap();
    scene.expect_change();
    fs::rename(scene.path("new"), scene.path("certs")).unwrap();
    scene.expect_change();
    fs::write(scene.path("certs/tls.crt"), "a: 2\n").unwrap();
    scene.expect_change();
}

#[test]
fn files_that_are_named_later_are_watched_from_then_on() {
    let scene = Scene::with(&["weir.yaml"], |root| write(&root.join("weir.yaml")));
    scene.watch.replace(vec![scene.path("weir.yaml"), scene.path("tls.crt")]);
    // The replacement is a letter to the thread: a change of the first file tells that it has been read.
    write(&scene.path("weir.yaml"));
    scene.expect_change();
    write(&scene.path("tls.crt"));
    scene.expect_change();
}

#[test]
fn reading_a_file_or_writing_beside_it_is_no_change() {
    let scene = Scene::with(&["weir.yaml"], |root| write(&root.join("weir.yaml")));
    let mailbox = &scene.watch.mailbox;
    let event = |kind, name| notify::Event::new(kind).add_path(scene.path(name));
    mailbox.read(Ok(event(EventKind::Access(AccessKind::Open(AccessMode::Any)), "weir.yaml")));
    mailbox.read(Ok(event(EventKind::Access(AccessKind::Close(AccessMode::Read)), "weir.yaml")));
    mailbox.read(Ok(event(EventKind::Modify(notify::event::ModifyKind::Any), "access.log")));
    assert_eq!(lock(&mailbox.letters).sign, None);
}

#[test]
fn without_signs_polling_finds_the_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    write(&file);
    let watch = Watch::with(vec![file.clone()], BY_POLLING, Signs::Poll).unwrap();
    fs::write(&file, "another: size\n").unwrap();
    wait_for(&watch);
}

#[test]
fn the_thread_ends_with_its_owner() {
    let scene = Scene::with(&["weir.yaml"], |root| write(&root.join("weir.yaml")));
    let mailbox = Arc::downgrade(&scene.watch.mailbox);
    drop(scene);
    let begin = Instant::now();
    while mailbox.strong_count() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(10), "the thread goes on");
        std::thread::yield_now();
    }
}
