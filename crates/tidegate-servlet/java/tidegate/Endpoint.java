package tidegate;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.juli.logging.Log;
import org.apache.juli.logging.LogFactory;
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
    /**
     * How long a stop waits for a loop that has been told to end at once, and has the sockets until then. Only a servlet that
     * holds the loop's own thread takes it longer than a moment. 30 s: as long as it may take to begin its answer.
     */
    private static final long STOP_TIMEOUT = 30_000;
    /** How long where that thread may be the one that waits. 1 s: ten thousand connections take the loop a tenth. */
    private static final long STOP_TIMEOUT_AT_END = 1_000;
    /** How long a thread that has nothing to do stays. 10 s: the next message may be the last for long. */
    private static final long BESIDE_IDLE_SECONDS = 10;
    /** As good as for ever: a year. */
    private static final long YEAR = 365L * 24 * 3600 * 1000;

    /** The connectors that serve, by their numbers. */
    private static final Map<Long, Endpoint> SERVING = new ConcurrentHashMap<>();

    private final Map<String, String> settings = new LinkedHashMap<>();
    private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();
    private final AtomicInteger started = new AtomicInteger();
    private final Set<Worker> workers = ConcurrentHashMap.newKeySet();
    private ScheduledFuture<?> watch;
    /** Does what {@link #executeBeside} is given; null before the first start. */
    private volatile ThreadPoolExecutor beside;
    /** Whether what is bound has served, which it can do once. */
    private boolean hasRun;
    /** Makes virtual threads; null where none are used. */
    private ThreadFactory virtualThreads;
    /** Channels that virtual threads have used; there are no more than such threads. */
    private final Queue<Channel> spares = new ConcurrentLinkedQueue<>();
    private boolean isInline;
    /** Threads that call servlets, at most. 200: as Tomcat has it. */
    private int threadsMax = 200;
    /** Threads that are there from the start; others come as they are needed. 10: as Tomcat has it. */
    private int threadsMin = 10;
    private long requestTimeout = REQUEST_TIMEOUT;
    private long drainTimeout = DRAIN_TIMEOUT;
    private volatile long connector = -1;
    private volatile CountDownLatch ended = new CountDownLatch(0);
    private final Readers readers = new Readers();
    /** What the loop calls servlets with, where it does that itself. */
    private Worker inline;
    private volatile Thread loop;

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

    /** Whether this is the thread of the loop, which nothing may hold up. */
    boolean isLoop() {
        return Thread.currentThread() == loop;
    }

    // Tomcat's own numbers are of an executor that it makes itself, which is not used here.

    @Override
    public void setMaxThreads(int threads) {
        threadsMax = Math.max(1, threads);
    }

    @Override
    public int getMaxThreads() {
        return threadsMax;
    }

    @Override
    public void setMinSpareThreads(int threads) {
        threadsMin = threads;
    }

    @Override
    public int getMinSpareThreads() {
        return threadsMin;
    }

    @Override
    public int getCurrentThreadCount() {
        return workers.size();
    }

    @Override
    public int getCurrentThreadsBusy() {
        return (int) workers.stream().filter(Worker::isBusy).count();
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
        // One thread hands on to virtual ones.
        boolean areVirtual = getUseVirtualThreads() && virtualThreads() != null;
        int threads = areVirtual ? 1 : getMaxThreads();
        set("pool", areVirtual ? "virtual" : "platform");
        set("threads", isInline ? "loop" : Integer.toString(threads));
        set("requestTimeout", Math.max(requestTimeout, 0));
        set("drainTimeout", drainTimeout);
        // Bound again it keeps the port that it was given.
        int port = connector < 0 ? getPortWithOffset() : Native.port(connector);
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
            hasRun = false;
        }
    }

    @Override
    public void startInternal() throws Exception {
        if (isRunning()) {
            return;
        }
        if (hasRun) {
            // Its sockets were closed when it stopped.
            long old = connector;
            bind();
            command(old, Native.UNBIND);
        }
        hasRun = true;
        running = true;
        paused = false;
        setExecutor(this::execute);
        SERVING.put(connector, this);
        virtualThreads = getUseVirtualThreads() && !isInline ? virtualThreads() : null;
        beside = new ThreadPoolExecutor(0, getMaxThreads(), BESIDE_IDLE_SECONDS, TimeUnit.SECONDS, new SynchronousQueue<>(),
                task -> thread(task, "beside-" + started.incrementAndGet()));
        if (isInline) {
            inline = new Worker(connector, Native.NOW);
        } else if (virtualThreads != null) {
            // It only hands jobs on.
            Native.command(connector, Native.ENTER);
            start(new Worker(connector, Native.WAIT), "jobs");
        } else {
            int spare = Math.max(1, Math.min(getMinSpareThreads(), getMaxThreads()));
            for (int i = 0; i < spare; i++) {
                Native.command(connector, Native.ENTER);
                start(new Worker(connector, Native.WAIT), "exec-" + started.incrementAndGet());
            }
        }
        // A loop that is left behind by a stop ends for itself alone.
        long served = connector;
        CountDownLatch latch = new CountDownLatch(1);
        Worker caller = inline;
        ended = latch;
        start(() -> loop(served, caller, latch), "loop");
        ScheduledExecutorService utility = getUtilityExecutor();
        if (requestTimeout > 0 && utility != null) {
            watch = utility.scheduleWithFixedDelay(this::watch, requestTimeout, requestTimeout, TimeUnit.MILLISECONDS);
        }
    }

    /** Logs which servlets have not returned since the last look; their clients were answered 504. */
    private void watch() {
        workers.forEach(Worker::look);
    }

    /** Returns what makes virtual threads; null where this Java has none. */
    private ThreadFactory virtualThreads() {
        try {
            // Since Java 21, and this is compiled for 11.
            Class<?> builder = Class.forName("java.lang.Thread$Builder");
            Object made = Thread.class.getMethod("ofVirtual").invoke(null);
            made = builder.getMethod("name", String.class, long.class).invoke(made, getName() + "-virt-", 0L);
            return (ThreadFactory) builder.getMethod("factory").invoke(made);
        } catch (ReflectiveOperationException e) {
            log.warn("This Java has no virtual threads (21 and later have): threads of the system are used");
            return null;
        }
    }

    private void loop(long served, Worker caller, CountDownLatch latch) {
        loop = Thread.currentThread();
        try {
            Native.run(served);
        } catch (IOException e) {
            log.error("The event loop has ended", e);
        } finally {
            if (caller != null) {
                workers.remove(caller);
            }
            latch.countDown();
        }
    }

    private void start(Runnable runnable, String name) {
        thread(runnable, name).start();
    }

    private Thread thread(Runnable runnable, String name) {
        Thread thread = new Thread(runnable, getName() + "-" + name);
        thread.setDaemon(true);
        // Not that of an application which happens to be at work: it would never be unloaded.
        thread.setContextClassLoader(Endpoint.class.getClassLoader());
        return thread;
    }

    @Override
    public void stopInternal() throws Exception {
        if (!running) {
            return;
        }
        running = false;
        if (watch != null) {
            watch.cancel(false);
        }
        drain();
        awaitEnd(drainTimeout);
        // Those that are left are cut.
        Native.command(connector, Native.STOP);
        awaitEnd(isLoop() || isProcessEnding() ? STOP_TIMEOUT_AT_END : STOP_TIMEOUT);
        if (ended.getCount() > 0) {
            log.warn("A servlet still holds the thread of the event loop, and with it the sockets");
        }
        beside.shutdown();
        SERVING.remove(connector);
    }

    /** Whether the JVM ends, perhaps by a servlet that waits for this on the loop's own thread. */
    private static boolean isProcessEnding() {
        Thread hook = new Thread(() -> {});
        try {
            Runtime.getRuntime().addShutdownHook(hook);
            Runtime.getRuntime().removeShutdownHook(hook);
            return false;
        } catch (IllegalStateException e) {
            // It takes none any more.
            return true;
        }
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
        command(connector, command);
    }

    private void command(long served, int command) {
        try {
            if (served >= 0) {
                Native.command(served, command);
            }
        } catch (IOException e) {
            log.error("The event loop cannot be told", e);
        }
    }

    /** Has a task of Tomcat's done where servlets are called. It is refused once nobody would come for it. */
    void execute(Runnable task) {
        tasks.add(task);
        try {
            Native.command(connector, Native.RUN_TASK);
        } catch (IOException e) {
            // Another job may have had it done.
            if (tasks.remove(task)) {
                throw new RejectedExecutionException("the connector has ended", e);
            }
        }
    }

    /**
     * Has a task done that threads which call servlets may wait for, on another thread than these. There are as many at most,
     * and they go when nothing is to be done.
     */
    void executeBeside(Runnable task) {
        try {
            beside.execute(task);
        } catch (RejectedExecutionException e) {
            // All of them wait themselves.
            execute(task);
        }
    }

    @Override
    public boolean processSocket(SocketWrapperBase<Object> channel, SocketEvent event, boolean dispatch) {
        if (channel == null) {
            return false;
        }
        if (dispatch) {
            try {
                execute(() -> ((Channel) channel).process(event));
            } catch (RejectedExecutionException e) {
                log.warn("The event " + event + " came too late", e);
                return false;
            }
        } else {
            ((Channel) channel).process(event);
        }
        return true;
    }

    Readers readers() {
        return readers;
    }

    /** Whether a request is to be passed on before its content is there, by its host and its path. */
    static boolean canBegin(long connector, byte[] target, int hostLength) {
        Endpoint endpoint = SERVING.get(connector);
        return endpoint != null
                && endpoint.readers.canBegin(
                        new String(target, 0, hostLength, StandardCharsets.ISO_8859_1),
                        new String(target, hostLength, target.length - hostLength, StandardCharsets.ISO_8859_1));
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
        /** The connector whose jobs it does; there may be another by the time that a servlet lets it go. */
        private final long served;
        private int how;
        /** The exchange that the next job may be; null before it is needed. Only this thread changes it. */
        private volatile Channel channel;
        /** Bounds the virtual threads that there are at a time. Those that outlast a stop count for no other start. */
        private final Semaphore concurrent = new Semaphore(getMaxThreads());
        /** The number of the exchange that has just ended; 0 for none. */
        private long over;
        private Thread thread;
        /** The number of jobs begun and ended: odd while there is one. It is measured nowhere, since a watch looks twice. */
        private final AtomicLong steps = new AtomicLong();
        private long seen;
        private long reported;

        Worker(long served, int how) {
            this.served = served;
            this.how = how;
        }

        @Override
        public void run() {
            thread = Thread.currentThread();
            workers.add(this);
            while (hasTurn()) {
                // It comes for the next job.
            }
            if (how != Native.NOW) {
                workers.remove(this);
            }
        }

        boolean isBusy() {
            return (steps.get() & 1) != 0;
        }

        /** Looks whether it is at the job of the last look still, and has somebody learn of it. */
        void look() {
            long now = steps.get();
            Channel at = channel;
            if ((now & 1) == 0 || at == null || at.isWaiting()) {
                seen = 0;
            } else if (now != seen) {
                seen = now;
            } else if (now != reported) {
                reported = now;
                StringBuilder report = new StringBuilder("Thread ").append(thread.getName()).append(" has been at ")
                        .append(at.describe()).append(" for longer than ").append(requestTimeout).append(" ms");
                for (StackTraceElement element : thread.getStackTrace()) {
                    report.append("\n\tat ").append(element);
                }
                log.warn(report);
            }
        }

        /** Does the next job. Returns false if there is none. */
        private boolean hasTurn() {
            try {
                return takeTurn();
            } catch (Throwable t) {
                // Even an Error of the JVM's ends one job, and not the thread: none would come in its place.
                channel = null;
                log.error("A job has failed", t);
                return true;
            }
        }

        private boolean takeTurn() {
            if (channel == null) {
                channel = new Channel(Endpoint.this);
            }
            long ended = over;
            over = 0;
            int length = Native.take(served, channel.block, how, ended);
            if (length == Native.CLOSED || length == 0) {
                return false;
            }
            if (how == Native.WAIT_AS_NEW) {
                how = Native.WAIT;
            }
            if (length < 0) {
                channel.block = new byte[-length];
                return true;
            }
            if ((channel.block[0] & Native.NEEDS_THREAD) != 0) {
                startAnother(served);
            }
            if (virtualThreads != null) {
                handOn(length);
                return true;
            }
            if (how != Native.NOW) {
                // An interruption was for the last job.
                Thread.interrupted();
            }
            steps.lazySet(steps.get() + 1);
            try {
                step(length);
            } finally {
                long step = steps.get() + 1;
                steps.lazySet(step);
                if (step == reported + 1) {
                    log.warn("Thread " + thread.getName() + " has come to an end of what took so long");
                }
            }
            return true;
        }

        private void step(int length) {
            Channel taken = channel;
            switch (perform(taken, length)) {
                case ENDED:
                    over = taken.id();
                    channel = taken.reuse() ? taken : null;
                    break;
                case GOES_ON:
                    channel = null;
                    break;
                default:
                    // The channel was only the place for the job's block.
            }
        }

        private void handOn(int length) {
            Channel taken = channel;
            channel = spares.poll();
            concurrent.acquireUninterruptibly();
            try {
                virtualThreads.newThread(() -> doAlone(taken, length, concurrent)).start();
            } catch (Throwable t) {
                concurrent.release();
                giveUp(taken);
                throw t;
            }
        }
    }

    /** Does one job on a thread of its own, and gives back its place among those. */
    private void doAlone(Channel channel, int length, Semaphore concurrent) {
        try {
            Done done = perform(channel, length);
            if (done == Done.ENDED) {
                Native.tell(channel.id(), Native.IS_OVER);
            }
            if (done != Done.GOES_ON && channel.reuse()) {
                spares.add(channel);
            }
        } finally {
            concurrent.release();
        }
    }

    /** The outcome of a job. */
    private enum Done {
        /** It was a request, and its exchange has ended with it. */
        ENDED,
        /** It was a request, and its exchange goes on. */
        GOES_ON,
        /** It was no request. */
        OTHER
    }

    /** Does the job in a block. */
    private Done perform(Channel channel, int length) {
        byte[] block = channel.block;
        try {
            switch (block[0] & Native.KIND) {
                case Native.REQUEST:
                    return channel.serve(length) ? Done.ENDED : Done.GOES_ON;
                case Native.EVENT:
                    tell(Block.longNumber(block, 1), block[9]);
                    return Done.OTHER;
                default:
                    Runnable task = tasks.poll();
                    if (task != null) {
                        task.run();
                    }
                    return Done.OTHER;
            }
        } catch (Throwable t) {
            giveUp(channel);
            throw t;
        }
    }

    /** Lets the client of a request know that nobody answers it any more. */
    private static void giveUp(Channel channel) {
        byte[] block = channel.block;
        if ((block[0] & Native.KIND) == Native.REQUEST) {
            Native.tell(Block.longNumber(block, 1), Native.IS_OVER);
        }
    }

    private static void tell(long id, byte event) {
        Channel channel = Channel.find(id);
        if (channel == null) {
            return;
        }
        switch (event) {
            case 1:
                channel.process(SocketEvent.OPEN_READ);
                break;
            case 2:
                channel.process(SocketEvent.OPEN_WRITE);
                break;
            default:
                channel.processDeparture();
        }
    }

    private void startAnother(long served) {
        try {
            start(new Worker(served, Native.WAIT_AS_NEW), "exec-" + started.incrementAndGet());
        } catch (OutOfMemoryError e) {
            command(served, Native.START_FAILED);
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
