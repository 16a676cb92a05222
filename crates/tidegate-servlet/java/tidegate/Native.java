package tidegate;

import java.io.File;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;

/** The functions of the native half, {@code libtidegate_servlet.so}. */
final class Native {
    /** The version of what both halves say to each other. */
    private static final int VERSION = 1;

    private static final String LIBRARY = "libtidegate_servlet.so";

    static {
        load();
    }

    private Native() {}

    static native int version();

    private static void load() {
        String given = System.getProperty("tidegate.library");
        Path library = given == null ? find() : Path.of(given);
        System.load(library.toAbsolutePath().toString());
        if (version() != VERSION) {
            throw new UnsatisfiedLinkError(library + " and the jar with " + Native.class + " are not of one version");
        }
    }

    /** Finds the library beside the jar, or where cargo puts it. */
    private static Path find() {
        Path folder = folder();
        for (String place : new String[] {"", "../release", "../debug"}) {
            Path library = folder.resolve(place).resolve(LIBRARY).normalize();
            if (Files.exists(library)) {
                return library;
            }
        }
        throw new UnsatisfiedLinkError("there is no " + LIBRARY + " beside the jar in " + folder
                + ", and -Dtidegate.library=PATH was not given");
    }

    private static Path folder() {
        try {
            URI place = Native.class.getProtectionDomain().getCodeSource().getLocation().toURI();
            return new File(place).toPath().toAbsolutePath().getParent();
        } catch (Exception e) {
            throw new IllegalStateException("nobody knows where the jar is: give -Dtidegate.library=PATH", e);
        }
    }
}
