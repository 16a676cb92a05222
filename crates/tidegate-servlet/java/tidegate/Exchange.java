package tidegate;

import jakarta.servlet.ServletConnection;
import java.io.EOFException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.RejectedExecutionException;
import java.util.function.Supplier;
import org.apache.coyote.AbstractProcessor;
import org.apache.coyote.ActionCode;
import org.apache.coyote.Adapter;
import org.apache.coyote.Constants;
import org.apache.coyote.ContinueResponseTiming;
import org.apache.coyote.ErrorState;
import org.apache.coyote.InputBuffer;
import org.apache.coyote.OutputBuffer;
import org.apache.coyote.Request;
import org.apache.coyote.RequestInfo;
import org.apache.coyote.UpgradeToken;
import org.apache.juli.logging.Log;
import org.apache.juli.logging.LogFactory;
import org.apache.tomcat.util.ExceptionUtils;
import org.apache.tomcat.util.buf.ByteChunk;
import org.apache.tomcat.util.buf.MessageBytes;
import org.apache.tomcat.util.http.MimeHeaders;
import org.apache.tomcat.util.net.AbstractEndpoint.Handler.SocketState;
import org.apache.tomcat.util.net.ApplicationBufferHandler;
import org.apache.tomcat.util.net.SocketWrapperBase;

/**
 * Calls Catalina for one request after the other, and gives the answers to the native half.
 *
 * <p>A response that is short and complete when the servlet returns crosses in one call. Status and fields are judged there,
 * by the same rules as every application's.
 */
final class Exchange extends AbstractProcessor {
    private static final Log log = LogFactory.getLog(Exchange.class);

    /** The most content that is gathered before it crosses. 32 KiB: a crossing costs a fraction of a percent of that. */
    static final int OUT_BYTES_MAX = 32 * 1024;
    /** The least capacity for a response. 8 KiB: as much as Catalina gathers. */
    private static final int OUT_BYTES = 9 * 1024;
    /** Content of a request that is read at a time. 8 KiB: as much as Catalina reads. */
    private static final int IN_BYTES = 8 * 1024;

    /** The most bytes of trailer fields. The server refuses sections of more than 8 KiB, and a field has 8 bytes more here. */
    private static final int TRAILER_BYTES_MAX = 32 * 1024;

    /** How far a response is. */
    private enum Stage {
        /** Nothing is known. */
        UNSTARTED,
        /** The head stands in the block, and content may follow it there. */
        BEGUN,
        /** The head has crossed. */
        SENT,
        /** All has crossed, or nobody wants the rest. */
        ENDED
    }

    private Channel channel;
    private char[] host = new char[64];

    // The request's content.
    private int contentAt;
    private int contentEnd;
    private boolean hasEnded;
    private byte[] in;
    private int inAt;
    private int inEnd;

    // The response.
    private final Block out = new Block(OUT_BYTES);
    private Stage stage = Stage.UNSTARTED;
    /** Where the head ends in the block; 0 once it has crossed. */
    private int headEnd;
    private boolean hasContent;
    private boolean hasRoom = true;
    private long written;
    private String file;
    private long fileOffset;
    private long fileLength;
    private UpgradeToken upgradeToken;

    Exchange(Adapter adapter) {
        super(adapter);
        request.setInputBuffer(new Input());
        response.setOutputBuffer(new Output());
    }

    @Override
    protected Log getLog() {
        return log;
    }

    // From a request to Catalina.

    @Override
    public SocketState service(SocketWrapperBase<?> wrapper) throws IOException {
        channel = (Channel) wrapper;
        setSocketWrapper(wrapper);
        RequestInfo info = request.getRequestProcessor();
        info.setStage(Constants.STAGE_PREPARE);
        request.markStartTime();
        readRequest();
        info.setStage(Constants.STAGE_SERVICE);
        try {
            getAdapter().service(request, response);
            channel.readers().learn(request);
        } catch (InterruptedIOException e) {
            setErrorState(ErrorState.CLOSE_CONNECTION_NOW, e);
        } catch (Throwable t) {
            ExceptionUtils.handleThrowable(t);
            log.error("Catalina has failed", t);
            response.setStatus(500);
            setErrorState(response.isCommitted() ? ErrorState.CLOSE_NOW : ErrorState.CLOSE_CLEAN, t);
            getAdapter().log(request, response, 0);
        }
        if (isAsync() && !getErrorState().isError()) {
            return SocketState.LONG;
        }
        if (upgradeToken != null && !getErrorState().isError()) {
            request.updateCounters();
            return SocketState.UPGRADING;
        }
        return end();
    }

    /** Does what an application gave to {@code AsyncContext.start}: that is for the threads which call servlets. */
    @Override
    protected void execute(Runnable task) {
        Channel current = channel;
        if (current == null) {
            throw new RejectedExecutionException("the exchange has ended");
        }
        current.executeInPool(task);
    }

    private SocketState end() {
        RequestInfo info = request.getRequestProcessor();
        info.setStage(Constants.STAGE_ENDOUTPUT);
        if (stage != Stage.ENDED) {
            if (getErrorState().isIoAllowed()) {
                action(ActionCode.CLOSE, null);
            }
            if (stage != Stage.ENDED) {
                fail();
            }
        }
        request.updateCounters();
        info.setStage(Constants.STAGE_ENDED);
        return SocketState.CLOSED;
    }

    @Override
    protected SocketState dispatchEndRequest() {
        return end();
    }

    private void fail() {
        stage = Stage.ENDED;
        Native.tell(channel.id(), Native.FAILS);
    }

    /** Makes the block Tomcat's request. No text is made of what nobody has asked for. */
    private void readRequest() {
        byte[] block = channel.block;
        int at = channel.texts();
        int length = Block.number(block, at);
        request.setMethod(block, at + 4, length);
        at += 4 + length;
        length = Block.number(block, at);
        request.requestURI().setBytes(block, at + 4, length);
        at += 4 + length;
        length = Block.number(block, at);
        if (channel.hasQuery()) {
            request.queryString().setBytes(block, at + 4, length);
        }
        at += 4 + length;
        length = Block.number(block, at);
        int hostAt = at + 4;
        int hostLength = length;
        at += 4 + length;
        channel.setAddresses(at);
        readHost(block, hostAt, hostLength);
        request.protocol().setString(channel.isHttp11() ? "HTTP/1.1" : "HTTP/1.0");
        at = readFields(block, channel.afterAddress(channel.afterAddress(at)), request.getMimeHeaders());
        if (request.getMimeHeaders().getValue("expect") != null) {
            request.setExpectation(true);
        }
        at = readFields(block, at, request.getMimeTrailerFields());
        contentEnd = at + 4 + Block.number(block, at);
        contentAt = at + 4;
        hasEnded = !channel.hasContentElsewhere();
    }

    private static int readFields(byte[] block, int from, MimeHeaders into) {
        int at = from + 4;
        for (int count = Block.number(block, from); count > 0; count--) {
            int length = Block.number(block, at);
            MessageBytes value = into.addValue(block, at + 4, length);
            at += 4 + length;
            length = Block.number(block, at);
            value.setBytes(block, at + 4, length);
            at += 4 + length;
        }
        return at;
    }

    private void readHost(byte[] block, int at, int length) {
        if (length == 0) {
            request.setServerPort(channel.getLocalPort());
            return;
        }
        if (host.length < length) {
            host = new char[length];
        }
        int end = length;
        int port = 0;
        int factor = 1;
        for (int i = length - 1; i >= 0; i--) {
            host[i] = (char) (block[at + i] & 0xff);
            if (end == length && factor > 0) {
                if (host[i] == ':') {
                    end = i;
                    if (i < length - 1) {
                        request.setServerPort(port);
                    }
                } else if (host[i] >= '0' && host[i] <= '9') {
                    port += (host[i] - '0') * factor;
                    factor *= 10;
                } else {
                    factor = 0;
                }
            }
        }
        request.serverName().setChars(host, 0, end);
    }

    @Override
    public void recycle() {
        // Where something has failed, Catalina's own objects may not be ready for another request.
        getAdapter().checkRecycled(request, response);
        super.recycle();
        request.recycle();
        response.recycle();
        channel = null;
        setSocketWrapper(null);
        inAt = 0;
        inEnd = 0;
        out.clear();
        stage = Stage.UNSTARTED;
        headEnd = 0;
        hasContent = false;
        hasRoom = true;
        written = 0;
        file = null;
        upgradeToken = null;
    }

    @Override
    public void pause() {
        // Nothing is read by a processor that another thread could stop.
    }

    // The request's content.

    private final class Input implements InputBuffer {
        @Override
        public int doRead(ApplicationBufferHandler handler) throws IOException {
            int count = contentEnd - contentAt;
            if (count > 0) {
                handler.setByteBuffer(ByteBuffer.wrap(channel.block, contentAt, count));
                contentAt = contentEnd;
                return count;
            }
            if (inAt == inEnd && !fill(request.getReadListener() == null)) {
                return hasEnded ? -1 : 0;
            }
            count = inEnd - inAt;
            handler.setByteBuffer(ByteBuffer.wrap(in, inAt, count));
            inAt = inEnd;
            return count;
        }

        @Override
        public int available() {
            return Exchange.this.available(false);
        }
    }

    /** Reads more content into the array, which is empty. Returns whether there is some. */
    private boolean fill(boolean isBlocking) throws IOException {
        if (hasEnded) {
            return false;
        }
        if (in == null) {
            in = new byte[IN_BYTES];
        }
        int read = channel.readSome(false, in, 0, in.length);
        if (read == Native.NOTHING_YET && isBlocking) {
            channel.readers().waits(request);
            read = channel.readSome(true, in, 0, in.length);
        }
        inAt = 0;
        inEnd = Math.max(read, 0);
        if (read == Native.END) {
            hasEnded = true;
            if (channel.isContentComing()) {
                byte[] trailers = new byte[TRAILER_BYTES_MAX];
                if (Native.trailers(channel.id(), trailers) > 0) {
                    readFields(trailers, 0, request.getMimeTrailerFields());
                }
            }
        }
        return read > 0;
    }

    @Override
    protected int available(boolean doRead) {
        int there = contentEnd - contentAt + inEnd - inAt;
        if (there == 0 && doRead && !hasEnded) {
            try {
                fill(false);
            } catch (IOException e) {
                setErrorState(ErrorState.CLOSE_CONNECTION_NOW, e);
                // As Tomcat's own: so the read that follows throws.
                return 1;
            }
            there = inEnd - inAt;
        }
        return there;
    }

    @Override
    protected boolean isRequestBodyFullyRead() {
        return hasEnded && contentAt == contentEnd && inAt == inEnd;
    }

    @Override
    protected void registerReadInterest() {
        channel.registerReadInterest();
    }

    @Override
    protected void setRequestBody(ByteChunk body) {
        in = new byte[body.getLength()];
        System.arraycopy(body.getBytes(), body.getStart(), in, 0, in.length);
        inAt = 0;
        inEnd = in.length;
        contentAt = contentEnd;
        hasEnded = true;
        if (in.length < IN_BYTES) {
            // It is not to be filled again.
            in = java.util.Arrays.copyOf(in, IN_BYTES);
        }
    }

    @Override
    protected void disableSwallowRequest() {
        if (!hasEnded) {
            Native.tell(channel.id(), Native.STOPS_READING);
        }
    }

    @Override
    protected boolean isTrailerFieldsReady() {
        return hasEnded;
    }

    @Override
    protected void ack(ContinueResponseTiming timing) {
        // The server has asked for the content already, as somebody was to be called who may read it.
    }

    // The response.

    private final class Output implements OutputBuffer {
        @Override
        public int doWrite(ByteBuffer content) throws IOException {
            if (!response.isCommitted()) {
                response.action(ActionCode.COMMIT, null);
            }
            int count = content.remaining();
            written += count;
            if (!hasContent || stage == Stage.ENDED) {
                content.position(content.limit());
                return count;
            }
            while (content.hasRemaining()) {
                int room = OUT_BYTES_MAX - (out.end - headEnd);
                if (room == 0) {
                    send();
                    continue;
                }
                int part = Math.min(room, content.remaining());
                out.makeRoom(part);
                content.get(out.bytes, out.end, part);
                out.end += part;
            }
            return count;
        }

        @Override
        public long getBytesWritten() {
            return written;
        }
    }

    @Override
    protected void prepareResponse() throws IOException {
        response.setCommitted(true);
        int status = response.getStatus();
        hasContent = status >= 200 && status != 204 && status != 205 && status != 304 && !isHead();
        prepareFile();
        out.clear();
        writeHead(status);
        headEnd = out.end;
        stage = Stage.BEGUN;
    }

    private boolean isHead() {
        return request.method().equals("HEAD");
    }

    private void prepareFile() {
        Object name = hasContent ? request.getAttribute(Constants.SENDFILE_FILENAME_ATTR) : null;
        if (name != null) {
            file = (String) name;
            fileOffset = (Long) request.getAttribute(Constants.SENDFILE_FILE_START_ATTR);
            fileLength = (Long) request.getAttribute(Constants.SENDFILE_FILE_END_ATTR) - fileOffset;
            hasContent = false;
        }
    }

    private void writeHead(int status) {
        out.putNumber(status);
        // Tomcat has given up reason phrases; the server knows the standard ones.
        out.putNumber(0);
        int countAt = out.end;
        out.putNumber(0);
        int count = 0;
        boolean isUpgrade = status == 101;
        String contentType = response.getContentType();
        boolean describes = status >= 200 && status != 204 && status != 205;
        if (contentType != null && describes) {
            count += putField("Content-Type", contentType);
        }
        String language = response.getContentLanguage();
        if (language != null && describes) {
            count += putField("Content-Language", language);
        }
        long length = response.getContentLengthLong();
        // Trailers follow chunks only.
        boolean hasTrailers = response.getTrailerFields() != null && channel.isHttp11() && hasContent;
        if (length >= 0 && describes && status != 304 && !hasTrailers) {
            count += putField("Content-Length", Long.toString(length));
        }
        count += putFields(response.getMimeHeaders(), isUpgrade);
        out.putNumber(countAt, count);
    }

    private int putField(String name, String value) {
        out.putText(name);
        out.putText(value);
        return 1;
    }

    private int putFields(MimeHeaders fields, boolean isUpgrade) {
        int count = 0;
        int size = fields.size();
        for (int i = 0; i < size; i++) {
            MessageBytes name = fields.getName(i);
            if (isServers(name, fields.getValue(i), isUpgrade)) {
                continue;
            }
            put(name);
            put(fields.getValue(i));
            count++;
        }
        return count;
    }

    /**
     * Whether a field is the server's, and passed over in silence, as Tomcat's own connector does it: libraries for
     * server-sent events set {@code Connection: keep-alive}. What would break the framing is not among these.
     */
    private static boolean isServers(MessageBytes name, MessageBytes value, boolean isUpgrade) {
        if (isUpgrade && name.equalsIgnoreCase("Upgrade") || name.equalsIgnoreCase("Keep-Alive")) {
            return true;
        }
        return name.equalsIgnoreCase("Connection") && (isUpgrade || !value.equalsIgnoreCase("close"));
    }

    private void put(MessageBytes text) {
        if (text.getType() == MessageBytes.T_BYTES) {
            ByteChunk bytes = text.getByteChunk();
            out.putBytes(bytes.getBytes(), bytes.getStart(), bytes.getLength());
        } else {
            String string = text.toString();
            out.putText(string == null ? "" : string);
        }
    }

    /** Lets what is in the block cross, and waits for room if there is none, unless a listener writes. */
    private void send() throws IOException {
        int given = Native.respond(channel.id(), out.bytes, headEnd, out.end, 0);
        out.clear();
        headEnd = 0;
        check(given);
        stage = Stage.SENT;
        hasRoom = given == Native.ROOM;
        if (!hasRoom && response.getWriteListener() == null) {
            try {
                channel.await(Native.WRITING);
            } catch (IOException e) {
                // Something will be missing, even if the application goes on as if nothing were.
                fail();
                throw e;
            }
            hasRoom = true;
        }
    }

    private void check(int given) throws IOException {
        if (given == Native.INVALID) {
            stage = Stage.ENDED;
            throw new IOException("the server has refused status or fields of the response: its log says why");
        }
        if (given == Native.GONE) {
            stage = Stage.ENDED;
            throw new EOFException("the client has left, or was answered in the meantime");
        }
    }

    @Override
    protected void flush() throws IOException {
        if (upgradeToken != null) {
            finishResponse();
        } else if (file == null && (stage == Stage.BEGUN || stage == Stage.SENT && out.end > 0)) {
            send();
        }
    }

    @Override
    protected void finishResponse() throws IOException {
        if (stage == Stage.ENDED || stage == Stage.UNSTARTED) {
            return;
        }
        long id = channel.id();
        Supplier<Map<String, String>> trailers = response.getTrailerFields();
        if (trailers != null && hasContent) {
            send();
            stage = Stage.ENDED;
            Map<String, String> fields = trailers.get();
            out.clear();
            out.putNumber(fields == null ? 0 : fields.size());
            if (fields != null) {
                fields.forEach(this::putField);
            }
            Native.finish(id, out.bytes, out.end);
            return;
        }
        stage = Stage.ENDED;
        if (file != null) {
            byte[] path = file.getBytes(StandardCharsets.UTF_8);
            out.makeRoom(path.length);
            System.arraycopy(path, 0, out.bytes, out.end, path.length);
            check(Native.sendFile(id, out.bytes, headEnd, out.end + path.length, fileOffset, fileLength));
            return;
        }
        int flags = upgradeToken != null ? Native.UPGRADE : isHead() ? Native.LAST | Native.NO_CONTENT : Native.LAST;
        check(Native.respond(id, out.bytes, headEnd, out.end, flags));
    }

    @Override
    protected void earlyHints() throws IOException {
        if (stage == Stage.UNSTARTED) {
            out.clear();
            out.putNumber(0);
            out.putNumber(0, putFields(response.getMimeHeaders(), false));
            check(Native.hint(channel.id(), out.bytes, out.end));
            out.clear();
        }
    }

    @Override
    protected void setSwallowResponse() {
        // What the application writes from now on goes nowhere, and the client is to notice.
        if (stage != Stage.ENDED) {
            fail();
        }
    }

    @Override
    protected boolean isReadyForWrite() {
        if (hasRoom) {
            return true;
        }
        hasRoom = channel.isReadyForWrite();
        return hasRoom;
    }

    @Override
    protected boolean flushBufferedWrite() throws IOException {
        hasRoom = channel.canWrite();
        if (!hasRoom) {
            channel.registerWriteInterest();
        }
        return !hasRoom;
    }

    @Override
    protected boolean isTrailerFieldsSupported() {
        return channel.isHttp11() && stage == Stage.UNSTARTED;
    }

    @Override
    protected ServletConnection getServletConnection() {
        return channel.getServletConnection("http/1.1", "");
    }

    // Another protocol.

    @Override
    protected void doHttpUpgrade(UpgradeToken token) {
        upgradeToken = token;
    }

    @Override
    public UpgradeToken getUpgradeToken() {
        return upgradeToken;
    }

    @Override
    public boolean isUpgrade() {
        return upgradeToken != null;
    }

    @Override
    public ByteBuffer getLeftoverInput() {
        return null;
    }
}
