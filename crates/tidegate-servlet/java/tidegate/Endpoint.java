package tidegate;

import java.io.EOFException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.juli.logging.Log;
import org.apache.juli.logging.LogFactory;
import org.apache.tomcat.util.ExceptionUtils;
import org.apache.tomcat.util.net.AbstractEndpoint;
import org.apache.tomcat.util.net.SSLHostConfig;
import org.apache.tomcat.util.net.SocketEvent;
import org.apache.tomcat.util.net.SocketProcessorBase;
import org.apache.tomcat.util.net.SocketWrapperBase;

/**
 * The server behind a connector: the thread of its event loop, and the threads that call servlets.
 *
 * <p>All of them are Java's. The loop's spends its life in {@link Native#run}; the others come for jobs
 * ({@link Native#take}) and do them. With {@code threads="1"} the loop does them itself, in each of its turns.
 */
final class Endpoint extends AbstractEndpoint<Object, Object> {
    private static final Log log = LogFactory.getLog(Endpoint.class);

    /** How long a servlet may take to begin its answer. 30 s: as gunicorn lets it. */
    private static final long REQUEST_TIMEOUT = 30_000;
    /** How long a stop waits for what is in flight. 5 s: contexts have been stopped by then. */
    private static final long DRAIN_TIMEOUT = 5_000;
    /** As good as for ever: a year. */
    private static final long YEAR = 365L * 24 * 3600 * 1000;

    /** The connectors that serve, by their numbers. */
    private static final Map<Long, Endpoint> SERVING = new ConcurrentHashMap<>();

    private final Map<String, String> settings = new LinkedHashMap<>();
    private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();
    private final AtomicInteger started = new AtomicInteger();
    private boolean isInline;
    private long requestTimeout = REQUEST_TIMEOUT;
    private long drainTimeout = DRAIN_TIMEOUT;
    private volatile long connector = -1;
    private volatile CountDownLatch ended = new CountDownLatch(0);
    /** What the loop calls servlets with, where it does that itself. */
    private Worker inline;

    Endpoint() {
        // Vectored operations with completion handlers gain nothing where bytes are copied to the native half.
        setUseAsyncIO(false);
    }

    void set(String name, long value) {
        set(name, Long.toString(value));
    }

    void set(String name, String value) {
        settings.put(name, value);
    }

    /** Sets a time in milliseconds; Tomcat's -1 is for ever. */
    void setTime(String name, long milliseconds) {
        set(name, milliseconds < 0 ? YEAR : milliseconds);
    }

    void setInline(boolean isInline) {
        this.isInline = isInline;
    }

    boolean isInline() {
        return isInline;
    }

    void setRequestTimeout(long milliseconds) {
        requestTimeout = milliseconds;
    }

    long getRequestTimeout() {
        return requestTimeout;
    }

    void setDrainTimeout(long milliseconds) {
        drainTimeout = milliseconds;
    }

    @Override
    public void bind() throws Exception {
        set("threads", isInline ? "loop" : Integer.toString(getMaxThreads()));
        set("requestTimeout", Math.max(requestTimeout, 0));
        set("drainTimeout", drainTimeout);
        int port = getPortWithOffset();
        InetAddress address = getAddress();
        if (address == null) {
            try {
                connector = bind("[::]:" + port);
            } catch (IOException e) {
                // A system without IPv6.
                connector = bind("0.0.0.0:" + port);
            }
        } else {
            String host = address.getHostAddress().replaceFirst("%.*", "");
            connector = bind((host.contains(":") ? "[" + host + "]" : host) + ":" + port);
        }
    }

    private long bind(String address) throws IOException {
        StringBuilder lines = new StringBuilder("address=").append(address).append('\n');
        settings.forEach((name, value) -> lines.append(name).append('=').append(value).append('\n'));
        return Native.bind(lines.toString().getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public void unbind() throws Exception {
        if (connector >= 0) {
            Native.command(connector, Native.UNBIND);
            connector = -1;
        }
    }

    @Override
    public void startInternal() throws Exception {
        if (isRunning()) {
            return;
        }
        running = true;
        paused = false;
        setExecutor(this::execute);
        SERVING.put(connector, this);
        if (isInline) {
            inline = new Worker(Native.NOW);
        } else {
            int spare = Math.max(1, Math.min(getMinSpareThreads(), getMaxThreads()));
            for (int i = 0; i < spare; i++) {
                Native.command(connector, Native.ENTER);
                start(new Worker(Native.WAIT), "exec-" + started.incrementAndGet());
            }
        }
        ended = new CountDownLatch(1);
        start(this::loop, "loop");
    }

    private void loop() {
        try {
            Native.run(connector);
        } catch (IOException e) {
            log.error("The event loop has ended", e);
        } finally {
            ended.countDown();
        }
    }

    private void start(Runnable runnable, String name) {
        Thread thread = new Thread(runnable, getName() + "-" + name);
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void stopInternal() throws Exception {
        if (!running) {
            return;
        }
        running = false;
        drain();
        if (awaitEnd(drainTimeout) == 0) {
            Native.command(connector, Native.STOP);
            awaitEnd(drainTimeout);
        }
        SERVING.remove(connector);
    }

    void drain() {
        command(Native.DRAIN);
    }

    /** Waits for the end of the loop, and returns the milliseconds that are left. */
    long awaitEnd(long milliseconds) {
        long until = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(milliseconds);
        try {
            ended.await(milliseconds, TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        return ended.getCount() > 0 ? 0 : Math.max(0, TimeUnit.NANOSECONDS.toMillis(until - System.nanoTime()));
    }

    void pauseReading() {
        command(Native.PAUSE);
    }

    void resumeReading() {
        command(Native.RESUME);
    }

    private void command(int command) {
        try {
            if (connector >= 0) {
                Native.command(connector, command);
            }
        } catch (IOException e) {
            log.error("The event loop cannot be told", e);
        }
    }

    /** Has a task of Tomcat's done where servlets are called. */
    private void execute(Runnable task) {
        tasks.add(task);
        command(Native.RUN_TASK);
    }

    @Override
    public boolean processSocket(SocketWrapperBase<Object> channel, SocketEvent event, boolean dispatch) {
        if (channel == null) {
            return false;
        }
        if (dispatch) {
            execute(() -> ((Channel) channel).process(event));
        } else {
            ((Channel) channel).process(event);
        }
        return true;
    }

    /** Does the jobs that there are, on the thread of the loop. */
    static void work(long connector) {
        Endpoint endpoint = SERVING.get(connector);
        if (endpoint != null && endpoint.inline != null) {
            endpoint.inline.run();
        }
    }

    /** Comes for jobs, and does them: the life of a thread, or what there is in a turn of the loop. */
    private final class Worker implements Runnable {
        private int how;
        private Channel channel = new Channel(Endpoint.this);

        Worker(int how) {
            this.how = how;
        }

        @Override
        public void run() {
            long over = 0;
            while (true) {
                int length = Native.take(connector, channel.block, how, over);
                over = 0;
                if (length == Native.CLOSED || length == 0) {
                    return;
                }
                if (how == Native.WAIT_AS_NEW) {
                    how = Native.WAIT;
                }
                if (length < 0) {
                    channel.block = new byte[-length];
                    continue;
                }
                byte[] block = channel.block;
                if ((block[0] & Native.NEEDS_THREAD) != 0) {
                    startAnother();
                }
                try {
                    switch (block[0] & 0x7f) {
                        case Native.REQUEST:
                            over = serve(length);
                            break;
                        case Native.EVENT:
                            tell(Block.longNumber(block, 1), block[9]);
                            break;
                        default:
                            Runnable task = tasks.poll();
                            if (task != null) {
                                task.run();
                            }
                    }
                } catch (Throwable t) {
                    ExceptionUtils.handleThrowable(t);
                    log.error("A job has failed", t);
                    channel = new Channel(Endpoint.this);
                }
            }
        }

        /** Serves a request, and returns the number of its exchange if that has ended with it. */
        private long serve(int length) {
            Channel serving = channel;
            if (serving.serve(length)) {
                long id = serving.id();
                if (!serving.reuse()) {
                    channel = new Channel(Endpoint.this);
                }
                return id;
            }
            // It goes on, with what belongs to it.
            channel = new Channel(Endpoint.this);
            return 0;
        }

        private void tell(long id, byte event) {
            Channel other = Channel.find(id);
            if (other == null) {
                return;
            }
            switch (event) {
                case 1:
                    other.process(SocketEvent.OPEN_READ);
                    break;
                case 2:
                    other.process(SocketEvent.OPEN_WRITE);
                    break;
                default:
                    other.setError(new EOFException("the client is gone"));
                    other.process(SocketEvent.ERROR);
            }
        }
    }

    private void startAnother() {
        try {
            start(new Worker(Native.WAIT_AS_NEW), "exec-" + started.incrementAndGet());
        } catch (OutOfMemoryError e) {
            command(Native.LEAVE);
            log.error("The system has no thread left", e);
        }
    }

    @Override
    protected InetSocketAddress getLocalAddress() throws IOException {
        if (connector < 0) {
            return null;
        }
        return new InetSocketAddress(getAddress() == null ? new InetSocketAddress(0).getAddress() : getAddress(),
                Native.port(connector));
    }

    @Override
    protected SocketProcessorBase<Object> createSocketProcessor(SocketWrapperBase<Object> channel, SocketEvent event) {
        throw new UnsupportedOperationException();
    }

    @Override
    protected void createSSLContext(SSLHostConfig config) {
        throw new UnsupportedOperationException();
    }

    @Override
    protected Log getLog() {
        return log;
    }

    @Override
    protected void doCloseServerSocket() {
        drain();
    }

    @Override
    protected Object serverSocketAccept() {
        throw new UnsupportedOperationException();
    }

    @Override
    protected boolean setSocketOptions(Object socket) {
        return true;
    }

    @Override
    protected void destroySocket(Object socket) {
        // There is none that is Java's.
    }
}
