package tidegate;

import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.juli.logging.Log;
import org.apache.juli.logging.LogFactory;

/**
 * The functions of the native half, {@code libtidegate_servlet.so}, and those that it calls back.
 *
 * <p>Connectors and exchanges have numbers: one that is out of date finds nobody.
 */
final class Native {
    /** The version of what both halves say to each other. */
    private static final int VERSION = 1;

    private static final String LIBRARY = "libtidegate_servlet.so";

    /** {@link #take} found that no more jobs come. */
    static final int CLOSED = Integer.MIN_VALUE;
    /** How {@link #take} takes a job: one that is there; it waits for one; it does so for a thread that has just begun. */
    static final int NOW = 0;
    static final int WAIT = 1;
    static final int WAIT_AS_NEW = 2;

    /** The first byte of a job: its kind, and the bit that has another thread started. */
    static final int KIND = 0x7f;
    static final int REQUEST = 1;
    static final int TASK = 2;
    static final int EVENT = 3;
    static final int NEEDS_THREAD = 0x80;

    /** Bits of a part of a response. */
    static final int LAST = 1;
    static final int NO_CONTENT = 2;
    static final int UPGRADE = 4;

    /** Outcomes of giving a part of a response. */
    static final int ROOM = 0;
    static final int FULL = 1;
    static final int GONE = -1;
    static final int INVALID = -2;

    /** Outcomes of reading, but for numbers of bytes. */
    static final int NOTHING_YET = 0;
    static final int END = -1;
    static final int BROKEN = -2;

    /** Directions of {@link #await}. */
    static final int READING = 1;
    static final int WRITING = 2;

    /** Whom {@link #await} has told of a direction that is not ready: nobody, the thread that asks, or any by an event. */
    static final int NOBODY = 0;
    static final int THREAD = 1;
    static final int ANYBODY = 2;

    /** What {@link #tell} says of an exchange. */
    static final int GOES_ON = 1;
    static final int STOPS_READING = 2;
    static final int FAILS = 3;
    static final int IS_OVER = 4;

    /** Commands to a connector. */
    static final int PAUSE = 1;
    static final int RESUME = 2;
    static final int DRAIN = 3;
    static final int STOP = 4;
    static final int UNBIND = 5;
    static final int RUN_TASK = 6;
    static final int ENTER = 7;
    static final int START_FAILED = 8;

    private static final Log log = LogFactory.getLog("tidegate");

    static {
        load();
    }

    private Native() {}

    static native int version();

    static native void init();

    static native long bind(byte[] settings) throws IOException;

    static native int port(long connector) throws IOException;

    static native void run(long connector) throws IOException;

    static native void command(long connector, int command) throws IOException;

    /**
     * Takes a job, after the exchange {@code over} (0: none) has ended.
     *
     * @return the number of bytes of the job; 0 if there is none; {@link #CLOSED}; or the length that the array must have,
     *     negative: the job is kept for this thread's next call
     */
    static native int take(long connector, byte[] into, int how, long over);

    static native int respond(long exchange, byte[] block, int head, int end, int flags);

    static native int sendFile(long exchange, byte[] block, int head, int end, long offset, long length);

    static native int hint(long exchange, byte[] block, int end);

    static native void finish(long exchange, byte[] trailers, int end);

    static native int read(long exchange, byte[] into, int from, int length);

    static native int trailers(long exchange, byte[] into);

    /** Returns 1 if the direction is ready; else somebody is told once it is. */
    static native int await(long exchange, int direction, int who);

    static native void tell(long exchange, int what);

    /** Called back, on the thread of a loop: lets the thread go on that waits for a direction of this exchange. */
    static void signal(long exchange, int direction) {
        Channel.signal(exchange, direction);
    }

    /** Called back, on the thread of a loop: does the jobs that there are. */
    static void work(long connector) {
        Endpoint.work(connector);
    }

    /** Called back, on the thread of a loop: says whether a servlet may be called before its content is there. */
    static boolean canBegin(long connector, byte[] target, int hostLength) {
        return Endpoint.canBegin(connector, target, hostLength);
    }

    /** Called back, on the thread of a loop: logs. */
    static void log(int level, byte[] message) {
        String text = new String(message, StandardCharsets.UTF_8);
        switch (level) {
            case 1:
                log.error(text);
                break;
            case 2:
                log.warn(text);
                break;
            case 3:
                log.info(text);
                break;
            default:
                log.debug(text);
        }
    }

    private static void load() {
        String given = System.getProperty("tidegate.library");
        Path library = given == null ? find() : Path.of(given);
        System.load(library.toAbsolutePath().toString());
        if (version() != VERSION) {
            throw new UnsatisfiedLinkError(library + " and the jar with " + Native.class + " are not of one version");
        }
        init();
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
