package tidegate;

import jakarta.servlet.ServletConnection;
import jakarta.servlet.http.HttpUpgradeHandler;
import java.io.EOFException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.InetAddress;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.channels.CompletionHandler;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.coyote.http11.upgrade.InternalHttpUpgradeHandler;
import org.apache.tomcat.util.net.AbstractEndpoint.Handler.SocketState;
import org.apache.tomcat.util.net.ApplicationBufferHandler;
import org.apache.tomcat.util.net.SSLSupport;
import org.apache.tomcat.util.net.SendfileDataBase;
import org.apache.tomcat.util.net.SendfileState;
import org.apache.tomcat.util.net.SocketEvent;
import org.apache.tomcat.util.net.SocketWrapperBase;

/**
 * One exchange, as Tomcat's machinery sees a socket: it is read and written through the native half.
 *
 * <p>After an upgrade it is the connection.
 */
final class Channel extends SocketWrapperBase<Object> {
    private static final Object SOCKET = new Object();
    /** The length of the array for a request's head. 8 KiB: longer ones are rare, and have a longer array. */
    private static final int BLOCK_BYTES = 8 * 1024;

    /** Bits of a request. */
    private static final int HTTP_11 = 1;
    private static final int CONTENT = 2;
    private static final int AS_IT_COMES = 4;
    private static final int QUERY = 8;

    /** Exchanges that go on without their thread, or that a thread waits for. */
    private static final Map<Long, Channel> WAITING = new ConcurrentHashMap<>();

    /** The request, as the native half has written it down: what Tomcat knows of it are parts of this array. */
    byte[] block = new byte[BLOCK_BYTES];

    private final Endpoint endpoint;
    private long id;
    private int addresses;
    private final Waiter reader = new Waiter();
    private final Waiter writer = new Waiter();
    private volatile boolean isListed;
    /** The one that speaks over the connection after an upgrade; null before. */
    private volatile HttpUpgradeHandler upgradeHandler;

    /** A thread that waits for one direction, while another may wait for the other. */
    private static final class Waiter {
        volatile Thread thread;
        volatile boolean isSignalled;
    }

    Channel(Endpoint endpoint) {
        super(SOCKET, endpoint);
        this.endpoint = endpoint;
    }

    Readers readers() {
        return endpoint.readers();
    }

    long id() {
        return id;
    }

    /** Serves the request in the block. Returns whether the exchange has ended with that. */
    boolean serve(int length) {
        id = Block.longNumber(block, 1);
        getLock().lock();
        try {
            if (endpoint.getHandler().process(this, SocketEvent.OPEN_READ) == SocketState.CLOSED) {
                return true;
            }
            list();
            Native.tell(id, Native.GOES_ON);
            return false;
        } finally {
            getLock().unlock();
        }
    }

    /** Goes on with an exchange whose thread has returned. */
    void process(SocketEvent event) {
        getLock().lock();
        try {
            if (!isClosed() && endpoint.getHandler().process(this, event) == SocketState.CLOSED) {
                close();
            }
        } finally {
            getLock().unlock();
        }
    }

    /**
     * Goes on with an exchange whose client has left while nobody waited for it.
     *
     * <p>A WebSocket of Tomcat's is not told: it finds out by the read that follows each of its events, as with Tomcat's own
     * connector. Were it told of an error, it would call the application back while it holds a lock that senders need; a sender
     * may hold a lock of the application's that the callback waits for (Tomcat 10.1.60), and neither would ever go on.
     */
    void processDeparture() {
        if (!(upgradeHandler instanceof InternalHttpUpgradeHandler)) {
            setError(new EOFException("the client is gone"));
            process(SocketEvent.ERROR);
        }
    }

    /** Notes who speaks over the connection from now on. */
    void upgradeTo(HttpUpgradeHandler handler) {
        upgradeHandler = handler;
    }

    /**
     * Does what Tomcat has another thread do: it says that a message of a WebSocket was sent. A thread that closes the WebSocket
     * waits for just that; with Tomcat's own connector all threads of the pool may do so, and nobody is left to say it.
     */
    @Override
    public void execute(Runnable task) {
        if (!endpoint.isRunning()) {
            throw new RejectedExecutionException("the connector has ended");
        }
        endpoint.executeBeside(task);
    }

    /** Does a task of an application's where servlets are called. */
    void executeInPool(Runnable task) {
        endpoint.execute(task);
    }

    /** Makes it ready for another exchange. Returns false if something may still know it. */
    boolean reuse() {
        if (isListed || upgradeHandler != null || getError() != null || isClosed()) {
            return false;
        }
        remoteAddr = null;
        remoteHost = null;
        remotePort = -1;
        localAddr = null;
        localName = null;
        localPort = -1;
        servletConnection = null;
        return true;
    }

    private void list() {
        isListed = true;
        WAITING.put(id, this);
        if (isClosed()) {
            unlist();
        }
    }

    /** Takes it off the list, unless it is to be found still. */
    private void unlist() {
        WAITING.computeIfPresent(id, (number, listed) -> {
            boolean isNeeded = isWaiting() || isListed && !isClosed();
            return listed != this || isNeeded ? listed : null;
        });
    }

    static Channel find(long id) {
        return WAITING.get(id);
    }

    static void signal(long id, int direction) {
        Channel channel = WAITING.get(id);
        if (channel != null) {
            Waiter waiter = channel.waiter(direction);
            waiter.isSignalled = true;
            LockSupport.unpark(waiter.thread);
        }
    }

    @Override
    protected void doClose() {
        unlist();
        Native.tell(id, Native.IS_OVER);
    }

    // The request's block.

    boolean isHttp11() {
        return (block[9] & HTTP_11) != 0;
    }

    /** Whether the request has content that is not in the block. */
    boolean hasContentElsewhere() {
        return (block[9] & CONTENT) != 0;
    }

    /** Whether the content is still coming. */
    boolean isContentComing() {
        return (block[9] & AS_IT_COMES) != 0;
    }

    boolean hasQuery() {
        return (block[9] & QUERY) != 0;
    }

    /** Where method, path, query and host stand, one after the other, each with its length before it. */
    int texts() {
        return 18;
    }

    void setAddresses(int at) {
        addresses = at;
    }

    /** Returns where the next address ends. */
    int afterAddress(int at) {
        return at + 3 + block[at];
    }

    private String address(int at) {
        byte[] bytes = new byte[block[at]];
        if (bytes.length == 0) {
            // The peer of a unix socket.
            return "";
        }
        System.arraycopy(block, at + 1, bytes, 0, bytes.length);
        try {
            return InetAddress.getByAddress(bytes).getHostAddress();
        } catch (UnknownHostException e) {
            throw new IllegalStateException(e);
        }
    }

    private int port(int at) {
        int end = afterAddress(at);
        return (block[end - 2] & 0xff) << 8 | block[end - 1] & 0xff;
    }

    @Override
    protected void populateRemoteAddr() {
        remoteAddr = address(addresses);
    }

    @Override
    protected void populateRemoteHost() {
        try {
            remoteHost = InetAddress.getByName(getRemoteAddr()).getHostName();
        } catch (UnknownHostException e) {
            remoteHost = getRemoteAddr();
        }
    }

    @Override
    protected void populateRemotePort() {
        remotePort = port(addresses);
    }

    @Override
    protected void populateLocalAddr() {
        localAddr = address(afterAddress(addresses));
    }

    @Override
    protected void populateLocalName() {
        try {
            localName = InetAddress.getByName(getLocalAddr()).getHostName();
        } catch (UnknownHostException e) {
            localName = getLocalAddr();
        }
    }

    @Override
    protected void populateLocalPort() {
        localPort = port(afterAddress(addresses));
    }

    @Override
    public ServletConnection getServletConnection(String protocol, String protocolConnectionId) {
        if (servletConnection == null) {
            String connection = Long.toString(Block.longNumber(block, 10));
            servletConnection = new ServletConnection() {
                @Override
                public String getConnectionId() {
                    return connection;
                }

                @Override
                public String getProtocol() {
                    return protocol;
                }

                @Override
                public String getProtocolConnectionId() {
                    return protocolConnectionId;
                }

                @Override
                public boolean isSecure() {
                    // There is no TLS.
                    return false;
                }
            };
        }
        return servletConnection;
    }

    // Waiting.

    /** Whether a thread waits for the client. */
    boolean isWaiting() {
        return reader.thread != null || writer.thread != null;
    }

    private Waiter waiter(int direction) {
        return direction == Native.READING ? reader : writer;
    }

    /** Says which request it is, for logs. */
    String describe() {
        try {
            byte[] from = block;
            int method = Block.number(from, texts());
            int path = texts() + 4 + method;
            return new String(from, texts() + 4, method, StandardCharsets.ISO_8859_1) + ' '
                    + new String(from, path + 4, Block.number(from, path), StandardCharsets.ISO_8859_1);
        } catch (IndexOutOfBoundsException e) {
            // Another thread was about to change it.
            return "another request";
        }
    }

    /** Waits until a direction is ready. The thread of the loop, which alone could make it ready, cannot. */
    void await(int direction) throws IOException {
        if (endpoint.isLoop()) {
            if (Native.await(id, direction, Native.NOBODY) == 1) {
                return;
            }
            throw new IOException("the thread of the event loop cannot wait for the client:"
                    + " the connector needs threads, or more responseMemory");
        }
        Waiter waiter = waiter(direction);
        waiter.isSignalled = false;
        waiter.thread = Thread.currentThread();
        WAITING.put(id, this);
        try {
            if (Native.await(id, direction, Native.THREAD) != 1) {
                park(waiter, direction == Native.READING ? getReadTimeout() : getWriteTimeout());
            }
        } finally {
            waiter.thread = null;
            unlist();
        }
    }

    private void park(Waiter waiter, long timeout) throws IOException {
        long until = timeout > 0 ? System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeout) : 0;
        while (!waiter.isSignalled) {
            if (timeout > 0) {
                long left = until - System.nanoTime();
                if (left <= 0) {
                    throw new SocketTimeoutException();
                }
                LockSupport.parkNanos(this, left);
            } else {
                LockSupport.park(this);
            }
            if (Thread.interrupted()) {
                Thread.currentThread().interrupt();
                throw new InterruptedIOException("interrupted while waiting for the client");
            }
        }
    }

    /** Asks for an event once a direction is ready. */
    private void register(int direction, SocketEvent event) {
        list();
        if (Native.await(id, direction, Native.ANYBODY) == 1) {
            endpoint.processSocket(this, event, true);
        }
    }

    @Override
    public void registerReadInterest() {
        register(Native.READING, SocketEvent.OPEN_READ);
    }

    @Override
    public void registerWriteInterest() {
        register(Native.WRITING, SocketEvent.OPEN_WRITE);
    }

    // The bytes of a connection that was taken over; content of a request is read in the same manner.

    /** Reads some bytes: 0 if there are none yet, -1 at the end. */
    int readSome(boolean isBlocking, byte[] into, int from, int length) throws IOException {
        while (true) {
            int read = Native.read(id, into, from, length);
            if (read == Native.BROKEN) {
                throw new EOFException("the client has left, or broken off");
            }
            if (read != Native.NOTHING_YET || !isBlocking || length == 0) {
                return read;
            }
            await(Native.READING);
        }
    }

    /** What was read and given back, or read ahead to see whether there is something. */
    private ByteBuffer ahead = ByteBuffer.allocate(0);

    @Override
    public int read(boolean isBlocking, byte[] into, int from, int length) throws IOException {
        Objects.checkFromIndexSize(from, length, into.length);
        if (ahead.hasRemaining()) {
            int count = Math.min(length, ahead.remaining());
            ahead.get(into, from, count);
            return count;
        }
        return readSome(isBlocking, into, from, length);
    }

    @Override
    public int read(boolean isBlocking, ByteBuffer into) throws IOException {
        if (ahead.hasRemaining()) {
            return transfer(ahead, into);
        }
        if (into.hasArray()) {
            int read = readSome(isBlocking, into.array(), into.arrayOffset() + into.position(), into.remaining());
            if (read > 0) {
                into.position(into.position() + read);
            }
            return read;
        }
        byte[] bytes = new byte[Math.min(into.remaining(), BLOCK_BYTES)];
        int read = readSome(isBlocking, bytes, 0, bytes.length);
        if (read > 0) {
            into.put(bytes, 0, read);
        }
        return read;
    }

    @Override
    public boolean isReadyForRead() throws IOException {
        if (!ahead.hasRemaining()) {
            byte[] bytes = new byte[BLOCK_BYTES];
            int read = readSome(false, bytes, 0, bytes.length);
            if (read < 0) {
                // A read will say so.
                return true;
            }
            ahead = ByteBuffer.wrap(bytes, 0, read);
        }
        return ahead.hasRemaining();
    }

    @Override
    public void unRead(ByteBuffer returned) {
        if (returned != null && returned.hasRemaining()) {
            byte[] bytes = new byte[returned.remaining() + ahead.remaining()];
            int count = returned.remaining();
            returned.get(bytes, 0, count);
            ahead.get(bytes, count, ahead.remaining());
            ahead = ByteBuffer.wrap(bytes);
        }
    }

    @Override
    public void setAppReadBufHandler(ApplicationBufferHandler handler) {
        // Bytes are copied into whatever buffer is given.
    }

    private boolean hasRoom = true;

    private void send(boolean isBlocking, byte[] bytes, int from, int to) throws IOException {
        int given = Native.respond(id, bytes, from, to, 0);
        if (given < 0) {
            throw new EOFException("the client has left");
        }
        hasRoom = given == Native.ROOM;
        if (!hasRoom && isBlocking) {
            await(Native.WRITING);
            hasRoom = true;
        }
    }

    @Override
    protected void writeBlocking(byte[] bytes, int from, int length) throws IOException {
        writeAll(true, ByteBuffer.wrap(bytes, from, length));
    }

    @Override
    protected void writeBlocking(ByteBuffer from) throws IOException {
        writeAll(true, from);
    }

    @Override
    protected void writeNonBlocking(byte[] bytes, int from, int length) throws IOException {
        writeAll(false, ByteBuffer.wrap(bytes, from, length));
    }

    @Override
    protected void writeNonBlocking(ByteBuffer from) throws IOException {
        writeAll(false, from);
    }

    private void writeAll(boolean isBlocking, ByteBuffer from) throws IOException {
        byte[] bytes = new byte[Math.min(from.remaining(), Exchange.OUT_BYTES_MAX)];
        while (from.hasRemaining()) {
            int count = Math.min(from.remaining(), bytes.length);
            from.get(bytes, 0, count);
            send(isBlocking, bytes, 0, count);
        }
    }

    @Override
    protected void flushBlocking() {
        // What was written is on its way.
    }

    @Override
    protected boolean flushNonBlocking() {
        return false;
    }

    @Override
    public boolean flush(boolean isBlocking) {
        return false;
    }

    @Override
    public boolean hasDataToWrite() {
        return false;
    }

    @Override
    public boolean canWrite() {
        return Native.await(id, Native.WRITING, Native.NOBODY) == 1;
    }

    @Override
    public boolean isReadyForWrite() {
        if (canWrite()) {
            return true;
        }
        registerWriteInterest();
        return false;
    }

    @Override
    protected void doWrite(boolean isBlocking, ByteBuffer from) throws IOException {
        writeAll(isBlocking, from);
    }

    // What there is none of.

    @Override
    public SendfileDataBase createSendfileData(String name, long position, long length) {
        return null;
    }

    @Override
    public SendfileState processSendfile(SendfileDataBase data) {
        return SendfileState.ERROR;
    }

    @Override
    public void doClientAuth(SSLSupport support) {
        // There is no TLS.
    }

    @Override
    public SSLSupport getSslSupport() {
        return null;
    }

    @Override
    protected <A> OperationState<A> newOperationState(boolean read, ByteBuffer[] buffers, int offset, int length,
            BlockingMode block, long timeout, TimeUnit unit, A attachment, CompletionCheck check,
            CompletionHandler<Long, ? super A> handler, Semaphore semaphore, VectoredIOCompletionHandler<A> completion) {
        throw new UnsupportedOperationException("hasAsyncIO() says that there is none");
    }
}
